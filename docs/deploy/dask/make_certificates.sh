#!/bin/sh
# make_certificates.sh FOLDER
# Makes an authority (ca.pem) and a certificate that it signed (cert.pem, key.pem), for scheduler, workers and clients alike.
# Keep ca-key.pem away from the cluster: who has it can make more.
set -eu
mkdir -p "${1:?give a folder}"
cd "$1"
umask 077
new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $new -days 825 -subj "/CN=authority of a Dask cluster" -keyout ca-key.pem -out ca.pem
openssl req $new -subj "/CN=member of a Dask cluster" -keyout key.pem -out request.pem
openssl x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 365 -out cert.pem
rm request.pem

#!/bin/sh
# submit_kubernetes.sh https://API-SERVER:6443 IMAGE: runs /opt/job.py of the image on Kubernetes.
# Needs a service account `spark` that may make pods: kubectl create serviceaccount spark;
# kubectl create clusterrolebinding spark --clusterrole=edit --serviceaccount=default:spark
set -eu
spark-submit --master "k8s://${1:?give the address of the API server}" --deploy-mode cluster --name recscale \
    --conf spark.kubernetes.container.image="${2:?give an image}" \
    --conf spark.kubernetes.authenticate.driver.serviceAccountName=spark \
    --conf spark.executor.instances=4 --conf spark.executor.cores=4 --conf spark.executor.memory=2g \
    --conf spark.executor.pyspark.memory=6g --conf spark.driver.memory=2g --conf spark.driver.memoryOverhead=6g \
    --conf spark.pyspark.python=python3 \
    local:///opt/job.py

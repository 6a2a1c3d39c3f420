"""Item operators: what the scores of a model have besides products of factors, a linear map of rows over items."""

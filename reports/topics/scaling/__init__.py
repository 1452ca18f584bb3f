"""The ladder of small models, its law, and the prediction of the next size."""

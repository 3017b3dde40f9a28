"""PyTorch training of promptable recommenders: data sets, model, three stages, evaluation."""

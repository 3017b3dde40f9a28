"""Compile a checkpoint into a bundle: ONNX graphs, catalogue, tokenizer, items, manifest."""

"""The file of a model, compact or not, and its export to ONNX."""

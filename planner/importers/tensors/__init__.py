"""Programs of tensor operations (ONNX, torch.export), merged to operators."""

"""A policy that goes elsewhere: a folder with all it needs, the proof of it, ONNX beside it, what a chunk costs."""

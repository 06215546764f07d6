"""A policy to keep and to share: a folder with its weights as safetensors, its settings as JSON, and a model card."""

"""Trainings and evaluations in TensorBoard, Weights & Biases and MLflow."""

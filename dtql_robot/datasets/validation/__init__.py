"""What in a data set would make training or evaluation wrong."""

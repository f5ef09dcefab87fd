"""The code of the example's tasks: plain functions of a quantum and its configuration."""

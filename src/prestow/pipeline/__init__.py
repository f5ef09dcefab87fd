"""Pipelines: loading, checking, configuration, and where each value came from.

Owns the pipeline's file: tasks joined by dataset types, their configuration read without running
them, and their code as a deterministic zip. Serves the planner. Never looks at data, and never
imports a task.
"""

from prestow.pipeline.config_file import read_config_file
from prestow.pipeline.definition import (
    Cluster,
    CodeBundle,
    InputConnection,
    OnFailure,
    OutputConnection,
    Pipeline,
    TaskDefinition,
)
from prestow.pipeline.loading import compile_templates, load_pipeline, task_digests
from prestow.pipeline.reader import SelectionCheck

__all__ = [
    "Cluster",
    "CodeBundle",
    "InputConnection",
    "OnFailure",
    "OutputConnection",
    "Pipeline",
    "SelectionCheck",
    "TaskDefinition",
    "compile_templates",
    "load_pipeline",
    "read_config_file",
    "task_digests",
]

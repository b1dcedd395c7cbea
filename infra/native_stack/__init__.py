"""The native stack: Kafka, the schema registry, Kafka Connect and MinIO as local processes,
without Docker, and Dagster beside them.

The command line is `python -m infra.native_stack --help`; `Stack` is the same for Python code.
"""

from infra.native_stack.errors import StackError
from infra.native_stack.ports import Ports
from infra.native_stack.program import Program
from infra.native_stack.stack import ProgramStatus, Stack
from infra.native_stack.temporary import running_stack, temporary_stack

__all__ = [
    "Ports",
    "Program",
    "ProgramStatus",
    "Stack",
    "StackError",
    "running_stack",
    "temporary_stack",
]

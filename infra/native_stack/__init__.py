"""The native stack: Kafka, the schema registry, Kafka Connect and MinIO as processes of this
machine, without Docker, and Dagster beside them.

`python -m infra.native_stack --help` is its command; `Stack` is the same for programs.
"""

from infra.native_stack.errors import StackError
from infra.native_stack.ports import Ports
from infra.native_stack.program import Program
from infra.native_stack.stack import ProgramStatus, Stack
from infra.native_stack.temporary import temporary_stack

__all__ = ["Ports", "Program", "ProgramStatus", "Stack", "StackError", "temporary_stack"]

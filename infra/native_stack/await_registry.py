"""Wait until the schema registry answers and has our schema: before each start of Kafka Connect.

The sink's converter takes a good record for a bad one while the registry is away, or has lost the
schema that the record was written with, and the sink would put it into the dead letters. So a
killed Connect that supervisord starts again waits here, too: python -m
infra.native_stack.await_registry ADDRESS
"""

import sys
import time
from collections.abc import Callable

from mastodon_pipeline.errors import PipelineError, RegistryUnavailable
from mastodon_pipeline.listening.topic.registry import register
from mastodon_pipeline.settings import load_settings

_PAUSE_SECONDS = 0.5
_SAY_EVERY_SECONDS = 15.0


def await_registry(url: str, say: Callable[[str], object]) -> None:
    """Return once the registry has our schema, which a registry that was wiped is given again."""
    said_at = -_SAY_EVERY_SECONDS
    while True:
        try:
            schema_id = register(load_settings(schema_registry_url=url))
        except RegistryUnavailable as error:
            if time.monotonic() - said_at >= _SAY_EVERY_SECONDS:
                said_at = time.monotonic()
                say(f"Kafka Connect waits for the schema registry: {error}")
            time.sleep(_PAUSE_SECONDS)
        except PipelineError as error:
            # It answers. Whether listeners may use our schema is no concern of Kafka Connect's.
            say(f"the schema registry answers: {error}")
            return
        else:
            say(f"the schema registry answers, and has our schema as {schema_id}")
            return


if __name__ == "__main__":
    await_registry(sys.argv[1], lambda line: print(line, flush=True))

"""The job that applies the sink connector's configuration."""

import dagster as dg
from pydantic import Field

from mastodon_pipeline.failures import readable_failures
from mastodon_pipeline.landing import connector
from mastodon_pipeline.landing.put_back import PutBack, put_back
from mastodon_pipeline.settings import load_settings


class ApplyConfig(dg.Config):
    """What to do beyond applying the config; the config itself comes from the settings."""

    restart_tasks: bool = Field(
        default=False, description="Restart the running tasks too, for a sink that is stalled"
    )
    put_back: bool = Field(
        default=False,
        description="Send the good records among the sink's dead letters to the topic again",
    )


@dg.op(
    description=(
        "Makes the Kafka Connect sink run with its reviewed config (schemas/): creates the bucket"
        " and the topics if they are missing, validates and applies the config, restarts failed"
        " tasks, and waits for RUNNING."
    ),
    tags={"kind": "kafka"},
)
def apply_connector_config(context: dg.OpExecutionContext, config: ApplyConfig) -> None:
    """Apply the config; show it (it holds no secret) and the tasks' states as metadata."""
    with readable_failures():
        applied = connector.apply_connector_config(
            settings := load_settings(), context.log.info, restart_tasks=config.restart_tasks
        )
        letters = put_back(settings) if config.put_back else PutBack()
    context.add_output_metadata(
        {
            "connector": applied.config["name"],
            "state": applied.status.summary,
            "put back": f"{letters.acknowledged} of {letters.letters} dead letters",
            "changed": ", ".join(applied.changed) or "nothing",
            "config": dg.MetadataValue.json(applied.config),
        }
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description="Applies the sink connector's config. Doing it again changes nothing.",
)
def kafka_connect_config() -> None:
    """One op: the config."""
    apply_connector_config()

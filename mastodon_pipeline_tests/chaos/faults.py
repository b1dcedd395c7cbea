"""All kinds of damage, by name."""

from mastodon_pipeline_tests.chaos.data_faults import DATA_FAULTS
from mastodon_pipeline_tests.chaos.fault import Fault
from mastodon_pipeline_tests.chaos.file_faults import FILE_FAULTS
from mastodon_pipeline_tests.chaos.process_faults import PROCESS_FAULTS
from mastodon_pipeline_tests.chaos.server_faults import SERVER_FAULTS
from mastodon_pipeline_tests.chaos.sink_faults import SINK_FAULTS

FAULTS: dict[str, Fault] = {
    **PROCESS_FAULTS,
    **DATA_FAULTS,
    **SINK_FAULTS,
    **SERVER_FAULTS,
    **FILE_FAULTS,
}

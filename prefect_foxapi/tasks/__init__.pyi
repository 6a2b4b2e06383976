from .generations import agenerate as agenerate
from .generations import astream_generation as astream_generation
from .generations import asubmit_generation as asubmit_generation
from .generations import await_for_generation as await_for_generation
from .generations import generate as generate
from .generations import stream_generation as stream_generation
from .generations import submit_generation as submit_generation
from .generations import wait_for_generation as wait_for_generation

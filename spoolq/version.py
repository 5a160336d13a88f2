"""Which spoolq this is: `spoolq.__version__`, for what may not import the whole package."""

VERSION = "0.1.0"

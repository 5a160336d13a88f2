"""`python -m spoolq` is the command `spoolq`."""

from spoolq.cli import main

if __name__ == "__main__":
    main(prog_name="spoolq")

"""`python -m icshift` is `icshift`."""

from icshift.cli.main import main

if __name__ == "__main__":
    main()

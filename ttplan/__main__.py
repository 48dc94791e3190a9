"""`python -m ttplan`: the command line."""

from ttplan.cli.entrypoint import main

if __name__ == "__main__":
    main()

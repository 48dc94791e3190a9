"""`python -m ttplan`: the command line."""

from ttplan.cli.entry import main

if __name__ == "__main__":
    main()

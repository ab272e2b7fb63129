"""`python -m worker.housekeeper`: the housekeeper, until it is asked to stop."""

from worker.housekeeper.housekeeper import main

if __name__ == "__main__":
    main()

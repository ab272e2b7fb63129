"""`python -m worker.housekeeper`: run the housekeeper until it is told to stop."""

from worker.housekeeper.housekeeper import main

if __name__ == "__main__":
    main()

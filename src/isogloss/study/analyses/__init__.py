"""What is read off the tables of a study: models compared, measures held against each other, concepts followed."""

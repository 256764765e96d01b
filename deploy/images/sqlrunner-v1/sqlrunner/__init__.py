"""Run one query against the database of a data centre and write its rows to one file.

    sqlrunner [--dummy-data-file FILE] [--output FILE] [--log-file FILE] SQL_FILE

The database is the one that DATABASE_URL names. Where there is none, on a researcher's own machine, the
dummy data file is written to the output instead. Nothing that is read from the database is ever printed.
"""

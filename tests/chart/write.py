"""Writes what is made from the chart: its README and the reviewed renders, for `make chart`."""

from tests.chart import readme, reviewed

if __name__ == "__main__":
    readme.write()
    reviewed.write()

"""Uses the embedded store through clickhouse-connect, as the writer and as the read-only user.

Argument: the port on 127.0.0.1. Environment: WRITER_PASSWORD, READER_PASSWORD. Exit code 0: all as expected.
"""

import os
import sys
from datetime import datetime, timezone
from decimal import Decimal

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError

COLUMNS = ["seq", "symbol", "ts", "bid"]
STAMP = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)


def client(user, password, **options):
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=int(sys.argv[1]), username=user, password=password, database="md", **options
    )


def equal(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


def refused(reader, code, statement):
    try:
        reader.command(statement)
    except DatabaseError as error:
        assert f"code: {code}" in str(error), f"{statement}: {error}"
    else:
        raise AssertionError(f"not refused: {statement}")


def rows(count, start=0):
    # 10 is the line feed; the text has one too.
    return [[n, "EUR\nUSD", STAMP, None if n % 2 else Decimal("1.085000001")] for n in range(start, start + count)]


def main():
    writer = client("tickwire", os.environ["WRITER_PASSWORD"])
    writer.command(
        "CREATE TABLE ticks (seq UInt64, symbol LowCardinality(String), ts DateTime64(9, 'UTC'),"
        " bid Nullable(Decimal(18, 9))) ENGINE = MergeTree ORDER BY seq"
    )
    equal(writer.insert("ticks", rows(1000), column_names=COLUMNS).written_rows, 1000)
    packed = client("tickwire", os.environ["WRITER_PASSWORD"], compress="lz4")
    equal(packed.insert("ticks", rows(1000, 1000), column_names=COLUMNS).written_rows, 1000)

    reader = client("reader", os.environ["READER_PASSWORD"])
    equal(reader.command("SELECT count() FROM ticks"), 2000)
    back = reader.query("SELECT * FROM ticks WHERE seq IN (10, 11) ORDER BY seq", query_tz="UTC")
    equal([(s, y, b) for s, y, _, b in back.result_rows], [
        (10, "EUR\nUSD", Decimal("1.085000001")),
        (11, "EUR\nUSD", None),
    ])
    equal(back.result_rows[0][2].replace(tzinfo=timezone.utc), STAMP)
    bound = reader.query("SELECT count() FROM ticks WHERE seq >= {from:UInt64}", parameters={"from": 1990})
    equal(bound.result_rows, [(10,)])
    form = client("reader", os.environ["READER_PASSWORD"], form_encode_query_params=True)
    equal(form.query("SELECT {x:String}", parameters={"x": "it's\n"}).result_rows, [("it's\n",)])
    with reader.query_rows_stream("SELECT number FROM numbers(500000)") as stream:
        equal(sum(1 for _ in stream), 500000)
    equal(reader.query("SELECT seq FROM ticks WHERE 0").result_rows, [])
    equal(reader.raw_query("SELECT 1 AS x", fmt="JSONEachRow"), b'{"x":1}\n')

    refused(reader, 164, "INSERT INTO md.ticks (seq) VALUES (1)")
    refused(reader, 164, "DROP TABLE md.ticks")
    refused(reader, 164, "SELECT 1 INTO OUTFILE 'x'")
    refused(reader, 497, "SELECT * FROM md_private.ticks")
    refused(reader, 497, "SELECT * FROM file('/etc/passwd')")
    refused(reader, 497, "SELECT * FROM system.processes")
    refused(reader, 60, "SELECT * FROM md.nothing")


main()

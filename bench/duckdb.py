# The bar: a bare group-by of the same log in DuckDB, with typed columns and two threads, without any score.
import sys

import duckdb

columns = {
    "ts": "DOUBLE", "uid": "VARCHAR", "id.orig_h": "VARCHAR", "id.orig_p": "INTEGER", "id.resp_h": "VARCHAR",
    "id.resp_p": "INTEGER", "proto": "VARCHAR", "service": "VARCHAR", "duration": "DOUBLE", "orig_bytes": "BIGINT",
    "resp_bytes": "BIGINT", "conn_state": "VARCHAR", "history": "VARCHAR", "orig_pkts": "BIGINT",
    "orig_ip_bytes": "BIGINT", "resp_pkts": "BIGINT", "resp_ip_bytes": "BIGINT",
}
types = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
db = duckdb.connect()
db.execute("SET threads=2")
rows = db.execute(
    'SELECT "id.orig_h", "id.resp_h", "id.resp_p", count(*), sum(orig_bytes), sum(resp_bytes), sum(orig_pkts), sum(resp_pkts), '
    "sum(duration), min(ts), max(ts), count(*) FILTER (WHERE duration > 60 AND resp_bytes < 5000) "
    f"FROM read_json(?, format='newline_delimited', columns={{{types}}}) GROUP BY ALL",
    [sys.argv[1]],
).fetchall()
print(len(rows), "groups")

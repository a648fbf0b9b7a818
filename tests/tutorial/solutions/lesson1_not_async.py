def handle(conn):
    conn.send_all(b"1 hello\n")

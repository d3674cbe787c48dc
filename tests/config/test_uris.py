"""Tests for `tlsgate.config.uris`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.config.uris import Uri, app_uri, database_uri


class UriTests(SynchronousTestCase):
    """Where agents find what they serve."""

    def test_databases(self) -> None:
        """A host and a port, with PostgreSQL's scheme or none."""
        for written, want in (
            ("pg.internal:5433", Uri("postgres", "pg.internal", 5433)),
            ("pg.internal", Uri("postgres", "pg.internal", 5432)),
            ("postgres://pg.internal", Uri("postgres", "pg.internal", 5432)),
            ("PostgreSQL://10.0.0.7:6432/", Uri("postgresql", "10.0.0.7", 6432)),
            ("[fd00::1]:5432", Uri("postgres", "fd00::1", 5432)),
        ):
            self.assertEqual(database_uri(written), want)
        self.assertEqual(database_uri("[fd00::1]").address, "[fd00::1]:5432")

    def test_applications(self) -> None:
        """A scheme and a host; http and https have their ports."""
        for written, want in (
            ("http://127.0.0.1:3000", Uri("http", "127.0.0.1", 3000)),
            ("http://wiki", Uri("http", "wiki", 80)),
            ("https://wiki.internal/", Uri("https", "wiki.internal", 443)),
            ("tcp://[::1]:9000", Uri("tcp", "::1", 9000)),
        ):
            self.assertEqual(app_uri(written), want)

    def test_what_is_refused(self) -> None:
        """Each with what would be right."""
        for read, written, said in (
            (database_uri, "/var/run/postgresql", "UNIX sockets are not dialled"),
            (database_uri, "unix:/var/run/x", "UNIX sockets are not dialled"),
            (database_uri, "mysql://db:3306", "mysql:// is not served; write postgres://"),
            (database_uri, "postgres://app:secret@db/shop", "may not have a user"),
            (database_uri, "postgres://db/shop", "has to end with the host"),
            (database_uri, "postgres://db?sslmode=disable", "has to end with the host"),
            (database_uri, "db:0", "port 0"),
            (database_uri, "db:x", "host or host:port"),
            (database_uri, "", "is empty"),
            (app_uri, "127.0.0.1:3000", "has to begin with http://, https:// or tcp://"),
            (app_uri, "ftp://x", "ftp:// is not served"),
            (app_uri, "http://x/wiki", "has to end with the host"),
            (app_uri, "http://a:b@x", "may not have a user"),
            (app_uri, "tcp://x", "needs a port, such as tcp://x:9000"),
            (app_uri, "http://", "host or host:port"),
        ):
            error = self.assertRaises(ValueError, read, written)
            self.assertIn(said, str(error))
            self.assertNotIn("secret", str(error))

"""A certificate for one thing opens that thing only (S55)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tlsgate.core.certroutes import is_narrow, misfit
from tlsgate.core.rolevalues import Target

_ORDERS = {"db": "orders", "db_user": "app", "db_name": "shop", "cluster": "gw.test"}


def _db(name: str, user: str | None = None, database: str | None = None) -> Target:
    return Target(kind="db", name=name, db_user=user, db_name=database)


class CertroutesTests(SynchronousTestCase):
    """Tests for `misfit`."""

    def test_a_wide_one_fits_everything(self) -> None:
        """No route, or the cluster's alone, narrows nothing."""
        for routes in ({}, {"cluster": "gw.test"}):
            self.assertFalse(is_narrow(routes))
            self.assertEqual(misfit(routes, Target(kind="node", name="db1")), "")

    def test_s55_one_service(self) -> None:
        """Another name, another kind, or two kinds at once: nothing."""
        self.assertEqual(misfit(_ORDERS, _db("orders")), "")
        self.assertEqual(misfit({"app": "wiki"}, Target(kind="app", name="wiki")), "")
        for routes, target in (
            (_ORDERS, _db("books")),
            (_ORDERS, Target(kind="app", name="orders")),
            (_ORDERS, Target(kind="node", name="orders")),
            ({"db": "wiki", "app": "wiki"}, Target(kind="app", name="wiki")),
            ({"db_user": "app"}, _db("orders")),
        ):
            self.assertIn("one service only", misfit(routes, target))

    def test_s55_one_user_and_one_database(self) -> None:
        """What is asked for inside has to be what the certificate says."""
        self.assertEqual(misfit(_ORDERS, _db("orders", "app", "shop")), "")
        self.assertIn("db_user 'app' only", misfit(_ORDERS, _db("orders", "root")))
        self.assertIn("db_name 'shop' only", misfit(_ORDERS, _db("orders", "app", "hr")))

    def test_unknown_limits(self) -> None:
        """A limit that is not known shuts everything."""
        self.assertIn("'printer'", misfit({"app": "wiki", "printer": "p1"}, _db("orders")))

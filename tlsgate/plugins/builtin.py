"""The protocols that come with tlsgate: instances, and nothing else.

They are found as drop-ins are, and a gate starts without any of them. Their order is that
of the fields in the ping document.
"""

from __future__ import annotations

from tlsgate.protocols.apps.protocol import Apps
from tlsgate.protocols.auth import Auth, Join
from tlsgate.protocols.kubernetes import Kubernetes
from tlsgate.protocols.mongodb import MongoDB
from tlsgate.protocols.mysql import MySQL
from tlsgate.protocols.postgres import Postgres
from tlsgate.protocols.raw import Raw
from tlsgate.protocols.ssh import Ssh
from tlsgate.protocols.tcp import Tcp
from tlsgate.protocols.tunnel import Tunnel
from tlsgate.protocols.web.protocol import Web
from tlsgate.protocols.webcert import WebCert

apps = Apps()
auth = Auth()
join = Join()
kubernetes = Kubernetes()
ssh = Ssh()
tcp = Tcp()
tunnel = Tunnel()
web = Web()
postgres = Postgres()
mysql = MySQL()
mongodb = MongoDB()
raw = Raw()
webcert = WebCert()

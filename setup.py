"""The list of packages; everything else about the distribution stands in pyproject.toml.

`twisted.plugins` is named here because no search finds it: a folder that is shared with
other distributions must not have an `__init__.py`, nor may `tlsgate` claim `twisted`.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tlsgate", "tlsgate.*"]), "twisted.plugins"],
    package_data={"tlsgate": ["py.typed"], "*": ["*.html", "*.css", "*.js", "*.svg"]},
    include_package_data=False,
    zip_safe=False,
)

"""Peers: how the proxies beside us are set up, each to pass through well; and the small ones written here.

nginx.py, haproxy.py, envoy.py    configurations, rendered. Pure
mitmproxy_addon.py                runs in mitmproxy: lets events and bodies stream
aiohttp_proxy.py, grpc_proxy.py   processes: a plain reverse proxy each, as one would write it
"""

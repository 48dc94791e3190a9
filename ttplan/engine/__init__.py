"""Replay: a table of requests, routes and prices → what the routes would have done. Map, summarise, infer."""

"""Replay: requests, routes and prices → the effect of the routes. Map, summarise, infer."""

"""The worlds, by theme."""

from tests.universes.world import World
from tests.universes.worlds import caches, catalogue, limits, prices, records, routing, tokens

WORLDS: dict[str, World] = {
    world.name: world
    for theme in (tokens, limits, prices, caches, catalogue, records, routing)
    for world in theme.WORLDS
}

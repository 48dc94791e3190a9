"""The worlds, by theme."""

from tests.universes.world import World
from tests.universes.worlds import caches, limits, prices, records, routing, tokens

WORLDS: dict[str, World] = {
    world.name: world
    for theme in (tokens, limits, prices, caches, records, routing)
    for world in theme.WORLDS
}

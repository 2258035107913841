"""A bimanual demo task in simulation: pick up a cube with either arm (scene, demonstrator, recorder).

Importing this package needs neither MuJoCo nor a GL library; its modules load them when a scene is built.
"""

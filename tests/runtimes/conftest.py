"""The plugin beside this file is LeRobot's to import, in the processes of its runtimes."""

collect_ignore = ["lerobot_robot_pick"]

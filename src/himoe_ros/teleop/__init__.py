"""What an operator's hand asks for, as plans: keys, pads, leader arms. numpy only: no ROS, no clock of its own."""

"""What notices say, made from what they are about; how it is laid out is the channel's matter."""

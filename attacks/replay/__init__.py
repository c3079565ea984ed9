"""The local training of any client, replayed on candidate inputs by the client's own module, differentiably."""

"""What each setting of a defence costs in accuracy, and what attacks still find: a figure, a table, and sentences."""

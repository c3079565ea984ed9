"""Who is a member, and how well attacks tell it. Only this room knows the truth of a membership inference."""

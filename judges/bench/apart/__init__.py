"""Attacks in a process of their own, which has none of the experiment's folders: the option `--isolate`.

The attack gets its captures, its settings and its auxiliary data in an empty folder, an environment without the places
of data, and, on Linux with Landlock, a kernel that refuses to let it read the clients' data, the results of the run,
shared memory and what the system tells of other processes, or write anywhere but in that folder. Elsewhere the truth
stays readable for whoever knows where it lies. None of this protects from a hostile package: the entry of a plugin is
imported by this process too. Data sets that come with a library are readable, and so are other copies of the data; the
network is not shut off. The process ends with the one that called it.
"""

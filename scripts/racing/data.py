"""Published data that the race runs on, with their sources.

Job shops are in the notation of their sources, which `job_shop` and `flexible_job_shop` read.
"""

from __future__ import annotations

Job = list[list[tuple[int, int]]]
"""The operations of a job, each with its (machine, duration) alternatives."""

# Measured stage times of Zero Bubble Pipeline Parallelism (Qi et al. 2023), microseconds: stages p, microbatches n,
# hidden size h, forward F, input gradient B, weight gradient W, one hop between stages c. From the settings listed in
# copies of v_schedule.py and auto_schedule.py of sail-sg's zero-bubble-pipeline-parallelism, one of which names
# huggingface.co/spaces/sail/zero-bubble-pipeline-parallellism as its origin.
ZERO_BUBBLE: tuple[dict[str, int], ...] = (
    {"p": 8, "n": 24, "h": 2304, "F": 18522, "B": 18086, "W": 9337, "c": 601},
    {"p": 8, "n": 32, "h": 2304, "F": 18513, "B": 18086, "W": 9331, "c": 626},
    {"p": 8, "n": 64, "h": 2304, "F": 18546, "B": 18097, "W": 9321, "c": 762},
    {"p": 8, "n": 24, "h": 4096, "F": 29718, "B": 29444, "W": 19927, "c": 527},
    {"p": 8, "n": 32, "h": 4096, "F": 29802, "B": 29428, "W": 19530, "c": 577},
    {"p": 8, "n": 64, "h": 4096, "F": 29935, "B": 29621, "W": 19388, "c": 535},
    {"p": 16, "n": 48, "h": 5120, "F": 11347, "B": 11248, "W": 8132, "c": 377},
    {"p": 16, "n": 64, "h": 5120, "F": 11307, "B": 11254, "W": 8101, "c": 379},
    {"p": 16, "n": 128, "h": 5120, "F": 11325, "B": 11308, "W": 8109, "c": 378},
    {"p": 32, "n": 96, "h": 6144, "F": 10419, "B": 10207, "W": 7715, "c": 408},
    {"p": 32, "n": 128, "h": 6144, "F": 10408, "B": 10204, "W": 7703, "c": 408},
    {"p": 32, "n": 256, "h": 6144, "F": 10402, "B": 10248, "W": 7698, "c": 460},
)

# Lawrence 1984, ten jobs on five machines, with the proven optimum: github.com/tamy0612/JSPLIB, instances/.
# A line a job: machine and duration of each operation.
LAWRENCE: dict[str, tuple[int, str]] = {
    "la01": (
        666,
        """
        1 21 0 53 4 95 3 55 2 34
        0 21 3 52 4 16 2 26 1 71
        3 39 4 98 1 42 2 31 0 12
        1 77 0 55 4 79 2 66 3 77
        0 83 3 34 2 64 1 19 4 37
        1 54 2 43 4 79 0 92 3 62
        3 69 4 77 1 87 2 87 0 93
        2 38 0 60 1 41 3 24 4 83
        3 17 1 49 4 25 0 44 2 98
        4 77 3 79 2 43 1 75 0 96
        """,
    ),
    "la02": (
        655,
        """
        0 20 3 87 1 31 4 76 2 17
        4 25 2 32 0 24 1 18 3 81
        1 72 2 23 4 28 0 58 3 99
        2 86 1 76 4 97 0 45 3 90
        4 27 0 42 3 48 2 17 1 46
        1 67 0 98 4 48 3 27 2 62
        4 28 1 12 3 19 0 80 2 50
        1 63 0 94 2 98 3 50 4 80
        4 14 0 75 2 50 1 41 3 55
        4 72 2 18 1 37 3 79 0 61
        """,
    ),
    "la03": (
        597,
        """
        1 23 2 45 0 82 4 84 3 38
        2 21 1 29 0 18 4 41 3 50
        2 38 3 54 4 16 0 52 1 52
        4 37 0 54 2 74 1 62 3 57
        4 57 0 81 1 61 3 68 2 30
        4 81 0 79 1 89 2 89 3 11
        3 33 2 20 0 91 4 20 1 66
        4 24 1 84 0 32 2 55 3 8
        4 56 0 7 3 54 2 64 1 39
        4 40 1 83 0 19 2 8 3 7
        """,
    ),
    "la04": (
        590,
        """
        0 12 2 94 3 92 4 91 1 7
        1 19 3 11 4 66 2 21 0 87
        1 14 0 75 3 13 4 16 2 20
        2 95 4 66 0 7 3 7 1 77
        1 45 3 6 4 89 0 15 2 34
        3 77 2 20 0 76 4 88 1 53
        2 74 1 88 0 52 3 27 4 9
        1 88 3 69 0 62 4 98 2 52
        2 61 4 9 0 62 1 52 3 90
        2 54 4 5 3 59 1 15 0 88
        """,
    ),
    "la05": (
        593,
        """
        1 72 0 87 4 95 2 66 3 60
        4 5 3 35 0 48 2 39 1 54
        1 46 3 20 2 21 0 97 4 55
        0 59 3 19 4 46 1 34 2 37
        4 23 2 73 3 25 1 24 0 28
        3 28 0 45 4 5 1 78 2 83
        0 53 3 71 1 37 4 29 2 12
        4 12 2 87 3 33 1 55 0 38
        2 49 3 83 1 40 0 48 4 7
        2 65 3 17 0 90 4 27 1 23
        """,
    ),
}

# Fattahi, Saidi Mehrabad and Jolai 2007 (sfjs, mfjs) and Brandimarte 1993 (mk), with the machines and the best known
# makespan: github.com/SchedulingLab/fjsp-instances (MIT), fattahi/ and brandimarte/.
# A line a job: the number of operations, then for each the number of alternatives and their machines and durations.
FLEXIBLE: dict[str, tuple[int, int, str]] = {
    "sfjs06": (
        3,
        320,
        """
        3 1 0 17 2 0 40 1 130 2 1 50 2 60
        3 1 0 30 2 0 150 1 160 1 2 70
        3 2 0 50 1 60 2 1 170 2 180 2 1 90 2 100
        """,
    ),
    "sfjs10": (
        5,
        516,
        """
        3 1 0 147 2 3 140 1 130 2 3 150 4 160
        3 2 0 214 2 150 2 2 87 1 66 1 4 178
        3 2 0 87 1 62 1 2 180 2 3 190 4 100
        3 2 0 87 1 65 1 4 173 2 3 145 2 136
        """,
    ),
    "mfjs02": (
        7,
        446,
        """
        3 3 0 147 1 123 2 145 3 3 140 1 130 0 123 3 3 150 4 160 6 200
        3 2 0 214 2 150 3 2 87 1 66 3 99 3 4 178 5 95 6 150
        3 2 0 87 1 62 3 6 145 2 180 3 105 3 3 190 4 100 5 153
        3 2 0 87 1 65 2 2 250 4 173 2 3 145 5 136
        3 3 1 123 2 145 0 128 3 2 86 3 65 4 47 2 4 110 5 85
        """,
    ),
    "mfjs03": (
        7,
        466,
        """
        3 3 0 147 1 123 2 145 3 3 140 1 130 0 123 3 3 150 4 160 6 200
        3 2 0 214 2 150 3 2 87 1 66 3 99 3 4 178 5 95 6 150
        3 2 0 87 1 62 3 6 145 2 180 3 105 3 3 190 4 100 5 153
        3 2 0 87 1 65 2 2 250 4 173 2 3 145 5 136
        3 3 1 123 2 145 0 128 3 2 86 3 65 4 47 2 4 110 5 85
        3 3 1 145 2 320 3 154 3 3 150 2 123 4 192 3 4 120 5 240 6 180
        """,
    ),
    "mk01": (
        6,
        40,
        """
        6 2 0 5 2 4 3 4 3 2 5 1 1 2 2 4 5 2 3 5 5 1 6 0 1 1 2 1 3 5 6 2 6 3 3
        5 1 1 6 1 2 1 1 0 2 2 1 6 3 6 3 5 5 1 6 0 1
        5 1 1 6 2 2 4 5 2 3 5 5 1 6 0 1 3 2 4 1 6 5 6 2 0 1 4 5
        5 3 5 5 1 6 0 1 1 1 6 1 2 1 3 4 3 2 5 1 1 2 2 4 5 2
        6 3 4 3 2 5 1 1 3 5 5 1 6 0 1 1 1 6 2 0 5 2 4 2 1 6 3 6 3 2 4 1 6 5 6
        6 2 2 4 5 2 1 0 2 3 2 4 1 6 5 6 1 1 6 3 5 5 1 6 0 1 2 0 3 3 2
        5 1 5 1 2 0 3 3 2 3 2 4 1 6 5 6 3 1 6 4 1 0 6 1 2 1
        5 2 2 4 5 2 3 2 4 1 6 5 6 3 5 5 1 6 0 1 1 1 6 2 1 6 3 6
        6 1 5 1 2 0 1 4 5 3 5 6 2 6 3 3 1 0 2 3 2 4 1 6 5 6 2 1 6 3 6
        6 2 2 4 5 2 3 2 4 1 6 5 6 3 4 3 2 5 1 1 1 5 1 2 1 6 3 6 2 0 3 3 2
        """,
    ),
}


def job_shop(text: str) -> list[Job]:
    """Jobs from lines of machine and duration."""
    rows = [[int(word) for word in line.split()] for line in text.strip().splitlines()]
    return [[[pair] for pair in zip(row[::2], row[1::2], strict=True)] for row in rows]


def flexible_job_shop(text: str) -> list[Job]:
    """Jobs from lines with alternatives."""
    jobs = []
    for line in text.strip().splitlines():
        words = iter(int(word) for word in line.split())
        jobs.append([[(next(words), next(words)) for _ in range(next(words))] for _ in range(next(words))])
        if next(words, None) is not None:
            raise ValueError(f"more numbers than operations: {line.strip()}")
    return jobs

"""The package as pip has installed it; run by the Python that has it."""

import doctest
import importlib.metadata
import importlib.resources
import os
import pathlib
import unittest

import support
import waitq

README = os.environ["README"]
PROJECT_README = os.environ["PROJECT_README"]
ADDRESS = "127.0.0.1:7411"


class Installed(unittest.TestCase):

    def test_it_is_the_installed_one(self):
        self.assertIn("site-packages", pathlib.Path(waitq.__file__).parts)
        self.assertEqual(importlib.metadata.version("waitq"), "0.1.0")

    def test_it_has_its_types_and_the_code_of_the_protos(self):
        files = {file.name
                 for file in importlib.resources.files(waitq).iterdir()}
        self.assertIn("py.typed", files)
        from waitq.v1 import sessions_pb2_grpc
        self.assertTrue(sessions_pb2_grpc.SessionsStub)

    def test_the_tour(self):
        server = support.Server()
        self.addCleanup(server.close)
        with open(README, encoding="utf-8") as file:
            text = file.read().replace(ADDRESS, server.address)
        tour = doctest.DocTestParser().get_doctest(text, {}, "tour", README, 0)
        self.assertGreater(len(tour.examples), 40)
        runner = doctest.DocTestRunner(
            optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
        with support.no_longer_than(support.BOUND_S, "the tour"):
            runner.run(tour)
        self.assertEqual(runner.failures, 0)

    def test_the_example_of_the_projects_readme(self):
        server = support.Server()
        self.addCleanup(server.close)
        with open(PROJECT_README, encoding="utf-8") as file:
            blocks = file.read().split("```python\n")[1:]
        self.assertTrue(blocks)
        with waitq.Client(server.address) as client:
            for block in blocks:
                client.store("flag", 1)
                exec("import waitq\nfrom waitq import Action, Condition\n"
                     + block.split("```")[0].replace(ADDRESS, server.address))
                self.assertEqual(client.get("flag").value, 0)


CASES = [Installed]

"""Python's gql: python.py <base-url>"""

import json
import sys
from pathlib import Path

from gql import Client, GraphQLRequest, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.requests import RequestsHTTPTransport
from graphql import GraphQLError, parse, print_ast

base_url = sys.argv[1]
operations = parse((Path(__file__).parent / "operations.graphql").read_text(encoding="utf-8"))
transport = RequestsHTTPTransport(url=f"{base_url}/graphql", retries=0)
# It introspects the schema, and checks documents against it before it sends them.
client = Client(transport=transport, fetch_schema_from_transport=True)


def execute(name, variables):
    """The data of an operation, or its errors as the client raises them."""
    definitions = [one for one in operations.definitions if one.name.value in (name, "HeroParts")]
    used = definitions if name in ("CreateHero", "Heroes") else definitions[:1]
    document = "\n".join(print_ast(definition) for definition in used)
    try:
        return client.execute(GraphQLRequest(document, variable_values=variables, operation_name=name))
    except TransportQueryError as error:
        keys = ("message", "path", "extensions")
        return {"data": error.data, "errors": [{key: one.get(key) for key in keys} for one in error.errors]}


def check(actual, expected):
    assert actual == expected, f"{json.dumps(actual)} is not {json.dumps(expected)}"


teams = [{"id": "Team:1", "name": "Preventers"}, {"id": "Team:2", "name": "Z-Force"}]
created = execute("CreateHero", {"input": {
    "name": "Deadpond",
    "secretName": "Dive Wilson",
    "teams": {"create": [
        {"name": "Preventers", "headquarters": "Sharp Tower"},
        {"name": "Z-Force", "headquarters": "Sister Margaret's Bar"},
    ]},
}})
deadpond = {"id": "Hero:1", "name": "Deadpond", "age": None, "teams": teams}
check(created, {"createHero": {"hero": {**deadpond, "secretName": "Dive Wilson"}}})
where = {"teams": {"some": {"name": {"endsWith": "Force"}}}}
check(execute("Heroes", {"where": where, "limit": None}), {"heroes": [deadpond]})

# More than a kilobyte, so that the answer is compressed.
others = [{"name": f"Hero {index + 10}", "secretName": "Nobody", "age": index} for index in range(40)]
ids = [{"id": f"Hero:{index + 2}"} for index in range(40)]
check(execute("CreateHeroes", {"input": others}), {"createHeroes": {"heroes": ids}})
listed = [{"id": f"Hero:{index + 2}", "name": f"Hero {index + 10}", "age": index, "teams": []} for index in range(40)]
check(execute("Heroes", {}), {"heroes": [deadpond, *listed]})

page = execute("HeroPage", {"first": 1})["heroesConnection"]
check(page["edges"][0]["node"], {"name": "Deadpond"})
page = execute("HeroPage", {"first": 1, "after": page["pageInfo"]["endCursor"]})["heroesConnection"]
check(page["edges"][0]["node"], {"name": "Hero 10"})

check(execute("CreateHero", {"input": {"name": " ", "secretName": "B"}}), {"data": {"createHero": None}, "errors": [{
    "message": "`input.name` must not be blank",
    "path": ["createHero"],
    "extensions": {"code": "BAD_USER_INPUT", "argumentPath": ["input", "name"]},
}]})
missing = {"name": "A", "secretName": "B", "teams": {"connect": ["Team:9"]}}
check(execute("CreateHero", {"input": missing}), {"data": {"createHero": None}, "errors": [{
    "message": 'there is no Team with the id "Team:9"',
    "path": ["createHero"],
    "extensions": {"code": "NOT_FOUND", "argumentPath": ["input", "teams", "connect", 0]},
}]})
check(execute("Heroes", {"where": {"name": 7}}), {"data": None, "errors": [{
    "message": "`$where.name` must be of the type StringFilter, not 7",
    "path": None,
    "extensions": {"code": "BAD_USER_INPUT", "variablePath": ["where", "name"]},
}]})

# What the schema does not have is seen by the client itself.
try:
    client.execute(gql("{ villains { name } }"))
    sys.exit("A document that is not valid was sent.")
except GraphQLError as error:
    check(error.message, "Cannot query field 'villains' on type 'Query'.")
print(json.dumps({"heroes": len(listed) + 1}))

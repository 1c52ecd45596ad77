"""The program of the SQLModel tutorial, "Create Data with Many-to-Many Relationships", which writes database.db into the
folder where it runs. With the argument `wrong` it adds what SQLModel lets in, and hero-teams does not."""

import json
import sys
from typing import List, Optional

from sqlalchemy import text
from sqlmodel import Field, Relationship, Session, SQLModel, create_engine


class HeroTeamLink(SQLModel, table=True):
    team_id: Optional[int] = Field(default=None, foreign_key="team.id", primary_key=True)
    hero_id: Optional[int] = Field(default=None, foreign_key="hero.id", primary_key=True)


class Team(SQLModel, table=True):
    id: Optional[int] = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    headquarters: str

    heroes: List["Hero"] = Relationship(back_populates="teams", link_model=HeroTeamLink)


class Hero(SQLModel, table=True):
    id: Optional[int] = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    secret_name: str
    age: Optional[int] = Field(default=None, index=True)

    teams: List[Team] = Relationship(back_populates="heroes", link_model=HeroTeamLink)


engine = create_engine("sqlite:///database.db")
SQLModel.metadata.create_all(engine)

with Session(engine) as session:
    team_preventers = Team(name="Preventers", headquarters="Sharp Tower")
    team_z_force = Team(name="Z-Force", headquarters="Sister Margaret's Bar")
    hero_deadpond = Hero(name="Deadpond", secret_name="Dive Wilson", teams=[team_z_force, team_preventers])
    hero_rusty_man = Hero(name="Rusty-Man", secret_name="Tommy Sharp", age=48, teams=[team_preventers])
    hero_spider_boy = Hero(name="Spider-Boy", secret_name="Pedro Parqueador", teams=[team_preventers])
    session.add(hero_deadpond)
    session.add(hero_rusty_man)
    session.add(hero_spider_boy)
    session.commit()
    if sys.argv[1:] == ["wrong"]:
        session.add(Hero(name="  ", secret_name="Blank"))
        session.add(Hero(name="x" * 300, secret_name="Long"))
        session.add(Hero(name="Ancient", secret_name="Old", age=3_000_000_000))
        session.commit()
        # SQLite takes text for a number, and links to what does not exist.
        session.execute(text("INSERT INTO hero (name, secret_name, age) VALUES ('Worded', 'W', 'ten')"))
        session.execute(text("INSERT INTO hero (name, secret_name, age) VALUES (x'ff', 'B', 1.5)"))
        session.execute(text("INSERT INTO heroteamlink (team_id, hero_id) VALUES (9, 1), (1, 4), (1, 77)"))
        session.commit()
    print(json.dumps({"written": True}))
